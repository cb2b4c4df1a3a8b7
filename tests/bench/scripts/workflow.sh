#!/bin/bash
# "Script Déploiement Complet" of the workflow. Left out: the backup and `git pull`. Changed: `docker-compose` may be
# `docker compose`, `-T` because there is no terminal, the health address.
set -e  # Exit on error

echo "=== Viatique Production Deployment ==="

# 3. Build images
echo "3. Building images..."
$COMPOSE -f docker-compose.prod.yml build

# 4. Migrations
echo "4. Running migrations..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py migrate

# 5. Collectstatic
echo "5. Collecting static files..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py collectstatic --noinput

# 6. Deploy services
echo "6. Deploying services..."
$COMPOSE -f docker-compose.prod.yml up -d --no-deps backend celery_worker celery_beat frontend
$COMPOSE -f docker-compose.prod.yml restart nginx

# 7. Health check
echo "7. Health check..."
sleep 5
curl -f "$HEALTH_URL" || {
    echo "Health check failed! Rolling back..."
    # Rollback logic
    exit 1
}

echo "=== Deployment successful ==="
